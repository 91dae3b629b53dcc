"""The ResNet U-Net, its pretrained weights and its receptive field."""

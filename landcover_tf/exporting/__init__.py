"""From a trained model to an export folder: signatures, formats, versions, listing."""

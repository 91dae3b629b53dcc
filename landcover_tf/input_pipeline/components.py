"""Connected components of class rasters, in graph."""

import tensorflow as tf


def connected_components(label: tf.Tensor, member: tf.Tensor) -> tf.Tensor:
    """Returns the number of each pixel's 4-connected component of equal label.

    Every sweep spreads the largest pixel number along whole runs of equal label, first in rows,
    then in columns; a compact object is done after two sweeps, and the last one changes nothing.
    Only the members are looked at, which are few: from about half of the pixels on it would cost
    less to look at all, half as much where every pixel is a member.

    Args:
        label: uint8 [batch, height, width].
        member: Pixels that take part, bool [batch, height, width].

    Returns:
        The largest pixel number (counted through the batch) of the component, int32 [batch,
        height, width]; -1 where `member` is False.
    """
    number = tf.cond(
        tf.reduce_any(member),
        lambda: _numbers_of_components(label, member),
        lambda: tf.fill(tf.shape(label), -1),
    )
    return tf.ensure_shape(number, label.shape)


def _numbers_of_components(label: tf.Tensor, member: tf.Tensor) -> tf.Tensor:
    """Returns what `connected_components` does, of one member at least."""
    shape = tf.shape(label)
    height, width = shape[1], shape[2]
    # Members in the order of rows: their pixel numbers. `order` lists them in that of columns.
    place = _numbers_of(member)
    code = tf.gather(tf.reshape(tf.cast(label, tf.int32), [-1]), place)
    by_cols = _numbers_of(tf.transpose(member, [0, 2, 1]))
    example, col, row = by_cols // (height * width), by_cols // height % width, by_cols % height
    rank = tf.cumsum(tf.cast(tf.reshape(member, [-1]), tf.int32), exclusive=True)
    order = tf.gather(rank, (example * height + row) * width + col)
    in_rows = _runs(code, place, width)
    in_cols = _runs(tf.gather(code, order), by_cols, height)
    back = tf.math.invert_permutation(order)

    def sweep(number: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        along_rows = _largest_of_run(number, in_rows)
        along_cols = _largest_of_run(tf.gather(along_rows, order), in_cols)
        spread = tf.gather(along_cols, back)
        return spread, tf.reduce_any(spread != number)

    number, _ = tf.while_loop(
        lambda _, changed: changed,
        sweep,
        (place, tf.constant(True)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([])),
    )
    others = tf.fill([tf.size(member)], -1)
    return tf.reshape(tf.tensor_scatter_nd_update(others, place[:, None], number), shape)


def _numbers_of(member: tf.Tensor) -> tf.Tensor:
    """Returns where a flattened mask is True, int32 [members]."""
    return tf.cast(tf.where(tf.reshape(member, [-1]))[:, 0], tf.int32)


def _runs(code: tf.Tensor, place: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns the number of each member's run of adjacent equal codes in a line, int32 [members].

    Args:
        code: Class of each member, int32 [members].
        place: Its number among all pixels, rising, int32 [members].
        length: Pixels of a line.
    """
    line = place // length
    starts = (place[1:] != place[:-1] + 1) | (code[1:] != code[:-1]) | (line[1:] != line[:-1])
    return tf.cumsum(tf.concat([[0], tf.cast(starts, tf.int32)], axis=0))


def _largest_of_run(number: tf.Tensor, runs: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.math.segment_max(number, runs), runs)

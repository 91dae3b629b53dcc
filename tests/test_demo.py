"""The demo goes on where it was stopped."""

import pytest

from examples import demo
from examples.programs import ProgramError


def test_a_program_that_has_finished_is_not_run_again(tmp_path, capfd):
    with pytest.raises(ProgramError, match=r"landcover_tf\.simulate ended with exit code 2"):
        demo.step(tmp_path, "landcover_tf.simulate", "--no-such-flag")
    (tmp_path / "input").mkdir()
    (tmp_path / "input/simulate.json").touch()
    demo.step(tmp_path, "landcover_tf.simulate", "--no-such-flag")
    assert "[landcover_tf.simulate: done before]" in capfd.readouterr().out

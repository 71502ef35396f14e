"""What the tests of the dataset converters share."""

import pytest


def fails(main, *arguments, capsys):
    """The one message of a command that must end with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))

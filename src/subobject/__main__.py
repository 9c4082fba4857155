"""``python -m subobject`` is the ``subobject`` command."""

from subobject.cli.main import main

main()

"""What things take, ours and the usual procedure in turn: ``python -m bench``, or ``make bench``."""

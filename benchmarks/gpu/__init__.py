"""Everything that only an accelerator can show, measured by one command on a bare machine."""

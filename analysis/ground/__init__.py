"""What every application stands on: files, records, versions, commands. `imbert` may import it."""

"""One module per revision; its number is the ledger's format from then on."""

"""What a deposit's life depends on: audits, checks, renewal, deletion."""

"""What a party lets jobs do, signs and remembers: its policy, a job's contract, the audit log."""

"""What a person looks at: figures and the HTML report. Nothing is computed here that a file needs."""

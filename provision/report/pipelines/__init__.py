"""What the systems that run pipelines read: GitHub's workflow commands and summary, SARIF, Code Quality and JUnit."""

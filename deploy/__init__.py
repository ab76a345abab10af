"""From this repository to a stack in AWS: building artefacts, and what an operator does with a stack."""

"""Programs beside the service: demo, audit, pictures, fault suite, benchmark, mutants."""

"""The suite of several hosts: the service in network namespaces, over PostgreSQL with a replica."""

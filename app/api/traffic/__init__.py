"""The blueprint of reports and of the records, domains and pathnames that they become."""

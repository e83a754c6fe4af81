"""Program 1's face: HTTP. It parses requests into types, asks the services, and turns errors into statuses."""

"""The world on one Docker host: adapters for containers, links, networks, cgroups, processes and disks."""

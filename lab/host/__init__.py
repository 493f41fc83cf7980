"""The world on one Docker host: the adapters that act on containers, links, networks, cgroups, processes and disks."""

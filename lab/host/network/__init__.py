"""Network namespaces: netfilter rules, queueing disciplines, name servers, and measurements from inside."""

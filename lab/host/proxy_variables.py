"""The variables that send a program's requests to a proxy; the Docker client sets them as its configuration says."""

_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
PROXY_VARIABLES = (*_NAMES, *(name.lower() for name in _NAMES))
# The environment of every container of the lab: an empty value wins over the client's configuration.
NO_PROXIES = dict.fromkeys(PROXY_VARIABLES, "")

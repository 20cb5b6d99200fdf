"""Which proxy the environment names for a URL (``http_proxy``, ``https_proxy``, ``no_proxy``)."""

from urllib.request import getproxies_environment, proxy_bypass

from hpcpipe.clients.url import Url


class Proxies:
    """The environment's proxies, as they were when this was made."""

    def __init__(self) -> None:
        """Read the environment. Raises nothing."""
        self._proxies = getproxies_environment()

    def of(self, url: Url) -> str:
        """Find the proxy for a URL.

        Args:
            url: what is to be fetched.

        Returns:
            URL of the proxy; "" for none.

        Raises:
            Nothing.
        """
        if not self._proxies:
            return ""
        scheme = url.text.partition(":")[0]
        proxy = self._proxies.get(scheme) or self._proxies.get("all")
        if not proxy:
            return ""
        host = f"{url.host}:{url.port}"
        return "" if proxy_bypass(host, self._proxies) else proxy

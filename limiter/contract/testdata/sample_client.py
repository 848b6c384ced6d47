"""Calls one URL and says how a client of the API takes the answer.

Usage: sample_client.py URL

Prints the branch and the seconds that it would wait before a retry, as in
"retry-after 17". The branches and their order are those of the sample client on
the contract page.
"""

import json
import sys
import urllib.error
import urllib.request

TIMEOUT = 30  # seconds
FIRST_BACKOFF = 1  # seconds
DEFAULT_RETRY_AFTER = "30"  # seconds, as header text


def take(status, headers, body):
    """Returns the branch for an error response, and the wait in seconds."""
    code = body.get("error", "unknown")
    if code == "preflight_failed":
        return "preflight", 0
    if code == "insufficient_credits":
        return "billing", 0
    if code == "rate_limit_exceeded":
        return "retry-after", int(headers.get("Retry-After", DEFAULT_RETRY_AFTER))
    if status >= 500:
        return "backoff", FIRST_BACKOFF
    return "permanent", 0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    request = urllib.request.Request(sys.argv[1], data=b"{}", method="POST")
    request.add_header("Content-Type", "application/json")
    # No proxy from the environment: the test's server is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT):
            branch, wait = "ok", 0
    except urllib.error.HTTPError as failure:
        with failure:
            branch, wait = take(failure.code, failure.headers, json.load(failure))
    print(branch, wait)


if __name__ == "__main__":
    main()

"""The version of this release, as /status and the API description show it."""

VERSION = "0.1.0"

"""The GPU worker's HTTP server: jobs in, signed callbacks and artefacts out."""

VERSION = "0.1.0"

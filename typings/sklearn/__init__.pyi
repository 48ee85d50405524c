# See typings/README.md.

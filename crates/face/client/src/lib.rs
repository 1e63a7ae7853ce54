//! Client of the Docker Engine API

//! The ports of admission and evidence made real: Redis, PostgreSQL, STS over HTTP and DNS, and the embedded ones.

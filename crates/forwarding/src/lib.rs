//! In what form does a request cross? Pure rewriting of heads, paths, queries and credentials.

//! The environment becomes a Config, or every error at once.

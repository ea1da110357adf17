//! What happened, durably: event, signature, spool and shipper.

//! What the tests share: fixed clock, minted tokens, private servers, a fault-injecting proxy.

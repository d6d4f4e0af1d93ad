//! Whole servers, simulated.

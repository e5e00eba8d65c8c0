//! Holdpoint's use cases over ports

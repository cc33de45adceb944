//! Tests of the request decoder.

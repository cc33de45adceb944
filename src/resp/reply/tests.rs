//! Tests of the reply scanner.

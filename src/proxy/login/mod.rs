//! Who a client is: AUTH, HELLO, SELECT, RESET, and what the server lets its user do.

mod change;
mod permit;
mod revoke;
mod session;
mod turns;
mod verify;

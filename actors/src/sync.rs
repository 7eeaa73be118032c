//! The atomics of what is modelled: those of the standard library, and under `--cfg model` those of loom, which tries out in
//! what order threads may do what they do, and what each may see of the others.

#[cfg(model)]
pub(crate) use loom::sync::atomic;
#[cfg(not(model))]
pub(crate) use std::sync::atomic;

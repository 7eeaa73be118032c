//! Which filter groups may want something of a batch.
//!
//! An over-approximation: the group decides exactly. So far it is the coarsest there is, every group.

use std::sync::Arc;

use crate::event_log::EventBatch;
use crate::filter_group::{FilterGroup, FilterGroups};

/// The groups that may want something of this batch.
pub(crate) fn candidates(groups: &FilterGroups, _batch: &EventBatch) -> Vec<Arc<FilterGroup>> {
    groups.all()
}

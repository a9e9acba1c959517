//! The limits that every store checks before it looks into its data.

use super::{Name, StoreError};

pub(super) fn validate_name(what: &str, name: &Name) -> Result<(), StoreError> {
    match name.fault() {
        None => Ok(()),
        Some(fault) => Err(invalid(format!(
            "{what} {:?} {fault}",
            shortened(name.as_str())
        ))),
    }
}

pub(super) fn validate_size(what: &str, bytes: &[u8], bytes_max: usize) -> Result<(), StoreError> {
    if bytes.len() > bytes_max {
        return Err(invalid(format!(
            "{what} of {} bytes; at most {bytes_max} are allowed",
            bytes.len()
        )));
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

pub(super) fn invalid(reason: impl Into<String>) -> StoreError {
    StoreError::Invalid {
        reason: reason.into(),
    }
}

//! The alarms that are on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Alarm, AlarmKind};
use crate::types::MemberId;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alarms(BTreeSet<Alarm>);

impl Alarms {
    pub fn has(&self, kind: AlarmKind) -> bool {
        self.0.iter().any(|alarm| alarm.kind == kind)
    }

    /// Every alarm, in order of member.
    pub fn to_vec(&self) -> Vec<Alarm> {
        self.0.iter().copied().collect()
    }

    /// Answers the alarm whether it was on before or not, as etcd does.
    pub(crate) fn raise(&mut self, alarm: Alarm) -> Vec<Alarm> {
        self.0.insert(alarm);
        vec![alarm]
    }

    /// Answers the alarm if it was on. No kind clears nothing, as in etcd: its clients clear alarm by alarm.
    pub(crate) fn clear(&mut self, member: MemberId, kind: Option<AlarmKind>) -> Vec<Alarm> {
        let alarm = kind.map(|kind| Alarm { member, kind });
        alarm.filter(|alarm| self.0.remove(alarm)).into_iter().collect()
    }
}

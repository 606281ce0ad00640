//! The disk of a member.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{MEMBER_LABEL, annotations_of, labels};
use crate::operator::names::MemberName;
use crate::operator::observed::DiskMark;
use crate::operator::validate::Validated;

/// A claim named like its member. It has no owner: what deletes the resource must not delete data.
pub fn claim(validated: &Validated, member: &MemberName, mark: &DiskMark) -> PersistentVolumeClaim {
    let storage = &validated.spec.storage;
    let mut labels = labels(&validated.name);
    labels.insert(MEMBER_LABEL.to_owned(), member.to_string());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(member.to_string()),
            namespace: Some(validated.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations_of(mark)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(storage.size.clone()))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

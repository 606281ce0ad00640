//! What users are told, in stories.

//! The key-value configuration. Source: Apache 5.5 `PutKVConfigRequestHeader` and its neighbours.

use crate::fields::header;

header! {
    /// Sets a value.
    PutKvConfig {
        /// The namespace.
        namespace: String = "namespace",
        /// The key in it.
        key: String = "key",
        /// The value.
        value: String = "value",
    }
}

header! {
    /// Asks for a value, or removes it.
    GetKvConfig {
        /// The namespace.
        namespace: String = "namespace",
        /// The key in it.
        key: String = "key",
    }
}

header! {
    /// A value.
    GetKvConfigAnswer {
        /// The value.
        value: String = "value",
    }
}

header! {
    /// Asks for a whole namespace.
    GetKvListByNamespace {
        /// The namespace.
        namespace: String = "namespace",
    }
}

//! The device: keys, registration, and settings from the server.

use std::sync::Arc;

use whatsapp_rust::async_trait;
use whatsapp_rust::wacore::stats::StorageResourceReport;
use whatsapp_rust::wacore::store::Device;
use whatsapp_rust::wacore::store::device::DEVICE_PROPS;
use whatsapp_rust::wacore::store::traits::DeviceStore;

use super::{Backend, Result, into_backend, rows, to_json};
use crate::store::signal::Kind;

#[async_trait]
impl DeviceStore for Backend {
    async fn save(&self, device: &Device) -> Result<()> {
        self.put_json(self.key(Kind::Device), device).await
    }

    async fn load(&self) -> Result<Option<Device>> {
        let mut device: Option<Device> = self.get_json(&self.key(Kind::Device))?;
        if let Some(device) = &mut device {
            // Not serialized, and serde would leave it empty: a device that pairs after a restart
            // has to introduce itself like one that was just made.
            device.device_props = Arc::new(DEVICE_PROPS.clone());
        }
        Ok(device)
    }

    async fn exists(&self) -> Result<bool> {
        let key = self.key(Kind::Device);
        self.read(|tx| Ok(rows::get(tx, &key)?.is_some()))
    }

    /// Makes a device with new keys unless there is one; the id is the account's number.
    async fn create(&self) -> Result<i32> {
        let key = self.key(Kind::Device);
        if !self.exists().await? {
            let device = to_json(&Device::new()).map_err(into_backend)?;
            self.write(move |tx| match rows::get(&tx.view(), &key)? {
                Some(_) => Ok(()),
                None => rows::put(tx, &key, &device),
            })
            .await?;
        }
        Ok(i32::try_from(self.account).unwrap_or(i32::MAX))
    }

    /// The rows are in the map, which is the system's cache and not this process's memory.
    async fn resource_report(&self) -> StorageResourceReport {
        StorageResourceReport {
            memory_bytes: Some(0),
            ..StorageResourceReport::default()
        }
    }
}

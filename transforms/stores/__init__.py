"""Object stores: what differs between them, one module each, behind `transforms.stores.backend.Backend`."""

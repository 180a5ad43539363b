"""From bytes to volumes: each format's header and pixels, and the doctor who looks at a DICOM series first."""

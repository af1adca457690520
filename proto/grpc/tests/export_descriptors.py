"""Writes the descriptors inside the official Python client as one FileDescriptorSet.

Usage: python export_descriptors.py FILE, with rocketmq-python-client installed. Then run the test with
GANTRY_OFFICIAL_DESCRIPTORS=FILE (cargo xtask does both).
"""

import pathlib
import sys

from google.protobuf import descriptor_pb2
from rocketmq.grpc_protocol import admin_pb2, definition_pb2, service_pb2

files = descriptor_pb2.FileDescriptorSet()
for module in (definition_pb2, service_pb2, admin_pb2):
    module.DESCRIPTOR.CopyToProto(files.file.add())
pathlib.Path(sys.argv[1]).write_bytes(files.SerializeToString())

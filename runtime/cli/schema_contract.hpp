#pragma once

#include <eventcore/persistence/errc.hpp>

#include <google/protobuf/descriptor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace eventcore::cli {

/// Message types by full name, each with the forms that it was written in, at least one, oldest first. Two
/// forms are in two pools.
using contract = std::map<std::string, std::vector<const google::protobuf::Descriptor*>>;

struct loaded_contract {
  std::vector<std::unique_ptr<google::protobuf::DescriptorPool>> pools; ///< hold the descriptors
  contract types;
};

/// The event types of the journal in folder `source`; or, if it is a file, the messages of the serialised
/// google.protobuf.FileDescriptorSet in it, without those of the packages google and eventcore. The error names
/// `source`.
result<loaded_contract> load_contract(const std::filesystem::path& source);

/// The newest form of each type, and all messages and enums that these use, except those of the package google,
/// as lines of text without line ends, ordered by full name.
std::vector<std::string> print_contract(const contract& types);

/// As a .proto file says it: "int64", "bank.Money", "map<string, int64>".
std::string type_text(const google::protobuf::FieldDescriptor& field);

} // namespace eventcore::cli

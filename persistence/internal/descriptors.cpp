#include <eventcore/persistence/internal/descriptors.hpp>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

namespace eventcore::internal {

namespace {

void add_file(const google::protobuf::FileDescriptor& file,
              std::set<const google::protobuf::FileDescriptor*>& seen,
              google::protobuf::FileDescriptorSet& out) {
  if (!seen.insert(&file).second)
    return;
  for (int i = 0; i < file.dependency_count(); ++i)
    add_file(*file.dependency(i), seen, out);
  file.CopyTo(out.add_file());
}

} // namespace

std::string describe_type(const google::protobuf::Descriptor& type) {
  std::set<const google::protobuf::FileDescriptor*> seen;
  google::protobuf::FileDescriptorSet files;
  add_file(*type.file(), seen, files);
  return files.SerializeAsString();
}

} // namespace eventcore::internal

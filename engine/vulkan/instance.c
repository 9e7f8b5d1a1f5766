/* instance.c - the way to the drivers: the loader, an instance, and the validation layer where it is asked for. A machine without
 * a loader or a driver is not an error here: it has no Vulkan devices. */
#include "engine/vulkan/vk.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a driver keeps from the time when its devices are listed is its own, and LeakSanitizer cannot be told so by the driver's
 * name once the loader has unloaded it. */
#ifdef __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
void __lsan_disable(void);
void __lsan_enable(void);
#else
#define __lsan_disable()
#define __lsan_enable()
#endif

static const char layer_name[] = "VK_LAYER_KHRONOS_validation";

bool ts_vk_ok(VkResult result, const char *what, ts_error *err)
{
    switch (result) {
    case VK_SUCCESS:
        return true;
    case VK_ERROR_DEVICE_LOST:
        return ts_fail(err, TS_ERR_DEVICE_LOST,
                       "%s: the device stopped answering (lost), all on it is gone; open it again, or use --device cpu", what);
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return ts_fail(err, TS_ERR_MEMORY, "%s: the driver is out of host memory", what);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return ts_fail(err, TS_ERR_MEMORY, "%s: out of device memory", what);
    default:
        return ts_fail(err, TS_ERR_DEVICE, "%s: the driver refused with VkResult %d", what, (int)result);
    }
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity;
    (void)types;
    ts_vk_instance *in = user;
    if (in->messages++ == 0) snprintf(in->first, sizeof in->first, "%s", data->pMessage ? data->pMessage : "");
    return VK_FALSE;
}

static bool has_layer(PFN_vkEnumerateInstanceLayerProperties enumerate)
{
    uint32_t count = 0;
    if (enumerate(&count, NULL) != VK_SUCCESS || count == 0) return false;
    VkLayerProperties *list = calloc(count, sizeof *list);
    bool found = false;
    if (list && enumerate(&count, list) >= VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++) found = found || strcmp(list[i].layerName, layer_name) == 0;
    free(list);
    return found;
}

/* Drivers over another interface (MoltenVK over Metal) are listed only to who asks for them. */
static bool lists_portable(PFN_vkEnumerateInstanceExtensionProperties enumerate)
{
    uint32_t count = 0;
    if (enumerate(NULL, &count, NULL) != VK_SUCCESS || count == 0) return false;
    VkExtensionProperties *list = calloc(count, sizeof *list);
    bool found = false;
    if (list && enumerate(NULL, &count, list) >= VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            found = found || strcmp(list[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0;
    free(list);
    return found;
}

/* The loader's own entry points, which need no instance. */
typedef struct {
    PFN_vkGetInstanceProcAddr get;
    PFN_vkCreateInstance create;
    PFN_vkEnumerateInstanceVersion version;
    PFN_vkEnumerateInstanceLayerProperties layers;
    PFN_vkEnumerateInstanceExtensionProperties extensions;
} entry_points;

static bool open_loader(ts_vk_instance *in, entry_points *entry)
{
    /* The loader, and where there is none, a driver that is one itself: MoltenVK as applications bring it. */
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so", "libvulkan.1.dylib", "libvulkan.dylib",
                                        "libMoltenVK.dylib"};
    for (size_t i = 0; !in->library && i < sizeof names / sizeof *names; i++)
        in->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!in->library) return false;
    entry->get = (PFN_vkGetInstanceProcAddr)dlsym(in->library, "vkGetInstanceProcAddr");
    if (!entry->get) return false;
    entry->create = (PFN_vkCreateInstance)entry->get(NULL, "vkCreateInstance");
    entry->version = (PFN_vkEnumerateInstanceVersion)entry->get(NULL, "vkEnumerateInstanceVersion");
    entry->layers = (PFN_vkEnumerateInstanceLayerProperties)entry->get(NULL, "vkEnumerateInstanceLayerProperties");
    entry->extensions = (PFN_vkEnumerateInstanceExtensionProperties)entry->get(NULL, "vkEnumerateInstanceExtensionProperties");
    return entry->create && entry->version && entry->layers &&
           entry->extensions; /* a loader of Vulkan 1.0 has no version function */
}

static bool make_messenger(ts_vk_instance *in, const entry_points *entry, const VkDebugUtilsMessengerCreateInfoEXT *info,
                           ts_error *err)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)entry->get(in->instance, "vkCreateDebugUtilsMessengerEXT");
    in->destroy_messenger = (PFN_vkDestroyDebugUtilsMessengerEXT)entry->get(in->instance, "vkDestroyDebugUtilsMessengerEXT");
    if (!create || !in->destroy_messenger) return ts_fail(err, TS_ERR_DEVICE, "the loader has no VK_EXT_debug_utils");
    return ts_vk_ok(create(in->instance, info, NULL, &in->messenger), "the validation layer's messenger", err);
}

static bool load_functions(ts_vk_instance *in, const entry_points *entry)
{
#define LOAD(name) in->api.name = (PFN_vk##name)entry->get(in->instance, "vk" #name);
#define HAVE(name) &&in->api.name
    TS_VK_INSTANCE_FUNCTIONS(LOAD)
    return true TS_VK_INSTANCE_FUNCTIONS(HAVE);
#undef LOAD
#undef HAVE
}

bool ts_vk_instance_open(ts_vk_instance *in, bool validate, bool *absent, ts_error *err)
{
    *in = (ts_vk_instance){0};
    *absent = false;
    entry_points entry = {0};
    uint32_t version = 0;
    if (!open_loader(in, &entry) || entry.version(&version) != VK_SUCCESS || version < VK_API_VERSION_1_2) {
        ts_vk_instance_close(in);
        *absent = true;
        return false;
    }
    if (validate && !has_layer(entry.layers)) {
        ts_vk_instance_close(in);
        return ts_fail(err, TS_ERR_DEVICE, "validation was asked for, but %s is not installed (Debian: vulkan-validationlayers)",
                       layer_name);
    }
    const VkDebugUtilsMessengerCreateInfoEXT messenger = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
                                                          .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                                                                             VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
                                                          .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
                                                          .pfnUserCallback = on_message,
                                                          .pUserData = in};
    const VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                              .pNext = &messenger, /* so that the making of the instance is watched, too */
                                              .enabledValidationFeatureCount = 1,
                                              .pEnabledValidationFeatures = (VkValidationFeatureEnableEXT[]){
                                                  VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT}};
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .pApplicationName = "tessera",
                                           .pEngineName = "tessera",
                                           .apiVersion = version < VK_API_VERSION_1_3 ? version : VK_API_VERSION_1_3};
    const bool portable = lists_portable(entry.extensions);
    const char *extensions[2];
    uint32_t count = 0;
    if (validate) extensions[count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    if (portable) extensions[count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pNext = validate ? &features : NULL,
                                       .flags = portable ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
                                       .pApplicationInfo = &application,
                                       .enabledLayerCount = validate,
                                       .ppEnabledLayerNames = (const char *[]){layer_name},
                                       .enabledExtensionCount = count,
                                       .ppEnabledExtensionNames = extensions};
    VkResult result = entry.create(&info, NULL, &in->instance);
    if (result != VK_SUCCESS) {
        in->instance = NULL;
        ts_vk_instance_close(in);
        *absent = result != VK_ERROR_OUT_OF_HOST_MEMORY && !validate;
        return *absent ? false : ts_vk_ok(result, "making a Vulkan instance", err);
    }
    if (!load_functions(in, &entry)) {
        in->instance = NULL; /* a broken loader: not even its destructor is sure to be there */
        ts_vk_instance_close(in);
        *absent = true;
        return false;
    }
    if (validate && !make_messenger(in, &entry, &messenger, err)) {
        ts_vk_instance_close(in);
        return false;
    }
    return true;
}

void ts_vk_instance_close(ts_vk_instance *in)
{
    if (in->messenger) in->destroy_messenger(in->instance, in->messenger, NULL);
    if (in->instance) in->api.DestroyInstance(in->instance, NULL);
    if (in->library) dlclose(in->library);
    in->messenger = VK_NULL_HANDLE;
    in->instance = NULL;
    in->library = NULL;
}

int ts_vk_physical_devices(const ts_vk_instance *in, VkPhysicalDevice **list, ts_error *err)
{
    uint32_t count = 0;
    *list = NULL;
    __lsan_disable();
    VkResult result = in->api.EnumeratePhysicalDevices(in->instance, &count, NULL);
    __lsan_enable();
    if (result == VK_ERROR_INITIALIZATION_FAILED) return 0; /* drivers are there, but no device of theirs */
    if (!ts_vk_ok(result, "listing the Vulkan devices", err)) return -1;
    *list = calloc((size_t)count + 1, sizeof(VkPhysicalDevice));
    if (!*list) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return -1;
    }
    if (count == 0) return 0;
    result = in->api.EnumeratePhysicalDevices(in->instance, &count, *list);
    if (result != VK_INCOMPLETE && !ts_vk_ok(result, "listing the Vulkan devices", err)) {
        free(*list);
        *list = NULL;
        return -1;
    }
    return (int)count;
}

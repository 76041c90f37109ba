"""What Azure Resource Manager takes, by the plan's types of resources; arm_schemas.py writes this file.

Behind a dot stand names inside of another, ! behind those that are required; ~ is a dot that is part of a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
    "azure-native:resources:ResourceGroup": """
        managedBy properties properties.provisioningState
    """,
    "azure-native:servicebus:Namespace": """
        properties properties.alternateName properties.createdAt properties.disableLocalAuth properties.encryption
        properties.encryption.keySource properties.encryption.keyVaultProperties
        properties.encryption.keyVaultProperties.identity
        properties.encryption.keyVaultProperties.identity.userAssignedIdentity
        properties.encryption.keyVaultProperties.keyName properties.encryption.keyVaultProperties.keyVaultUri
        properties.encryption.keyVaultProperties.keyVersion properties.encryption.requireInfrastructureEncryption
        properties.geoDataReplication properties.geoDataReplication.locations
        properties.geoDataReplication.locations.locationName properties.geoDataReplication.locations.roleType
        properties.geoDataReplication.maxReplicationLagDurationInSeconds properties.ipAddressType
        properties.metricId properties.minimumTlsVersion properties.platformCapabilities
        properties.platformCapabilities.confidentialCompute properties.platformCapabilities.confidentialCompute.mode
        properties.premiumMessagingPartitions properties.privateEndpointConnections properties.provisioningState
        properties.publicNetworkAccess properties.serviceBusEndpoint properties.status properties.updatedAt
        properties.zoneRedundant sku sku.capacity sku.name! sku.tier
    """,
    "azure-native:servicebus:Topic": """
        properties properties.accessedAt properties.autoDeleteOnIdle properties.countDetails
        properties.countDetails.activeMessageCount properties.countDetails.deadLetterMessageCount
        properties.countDetails.scheduledMessageCount properties.countDetails.transferDeadLetterMessageCount
        properties.countDetails.transferMessageCount properties.createdAt properties.defaultMessageTimeToLive
        properties.duplicateDetectionHistoryTimeWindow properties.enableBatchedOperations properties.enableExpress
        properties.enablePartitioning properties.maxMessageSizeInKilobytes properties.maxSizeInMegabytes
        properties.requiresDuplicateDetection properties.sizeInBytes properties.status properties.subscriptionCount
        properties.supportOrdering properties.updatedAt properties.userMetadata
    """,
    "azure-native:servicebus:Queue": """
        properties properties.accessedAt properties.autoDeleteOnIdle properties.countDetails
        properties.countDetails.activeMessageCount properties.countDetails.deadLetterMessageCount
        properties.countDetails.scheduledMessageCount properties.countDetails.transferDeadLetterMessageCount
        properties.countDetails.transferMessageCount properties.createdAt
        properties.deadLetteringOnMessageExpiration properties.defaultMessageTimeToLive
        properties.duplicateDetectionHistoryTimeWindow properties.enableBatchedOperations properties.enableExpress
        properties.enablePartitioning properties.forwardDeadLetteredMessagesTo properties.forwardTo
        properties.lockDuration properties.maxDeliveryCount properties.maxMessageSizeInKilobytes
        properties.maxSizeInMegabytes properties.messageCount properties.requiresDuplicateDetection
        properties.requiresSession properties.sizeInBytes properties.status properties.updatedAt
        properties.userMetadata
    """,
    "azure-native:servicebus:Subscription": """
        properties properties.accessedAt properties.autoDeleteOnIdle properties.clientAffineProperties
        properties.clientAffineProperties.clientId properties.clientAffineProperties.isDurable
        properties.clientAffineProperties.isShared properties.countDetails
        properties.countDetails.activeMessageCount properties.countDetails.deadLetterMessageCount
        properties.countDetails.scheduledMessageCount properties.countDetails.transferDeadLetterMessageCount
        properties.countDetails.transferMessageCount properties.createdAt
        properties.deadLetteringOnFilterEvaluationExceptions properties.deadLetteringOnMessageExpiration
        properties.defaultMessageTimeToLive properties.duplicateDetectionHistoryTimeWindow
        properties.enableBatchedOperations properties.forwardDeadLetteredMessagesTo properties.forwardTo
        properties.isClientAffine properties.lockDuration properties.maxDeliveryCount properties.messageCount
        properties.requiresSession properties.status properties.updatedAt properties.userMetadata
    """,
    "azure-native:servicebus:DefaultRule": """
        properties properties.action properties.action.compatibilityLevel properties.action.requiresPreprocessing
        properties.action.sqlExpression properties.correlationFilter properties.correlationFilter.contentType
        properties.correlationFilter.correlationId properties.correlationFilter.label
        properties.correlationFilter.messageId properties.correlationFilter.properties
        properties.correlationFilter.replyTo properties.correlationFilter.replyToSessionId
        properties.correlationFilter.requiresPreprocessing properties.correlationFilter.sessionId
        properties.correlationFilter.to properties.filterType properties.sqlFilter
        properties.sqlFilter.compatibilityLevel properties.sqlFilter.requiresPreprocessing
        properties.sqlFilter.sqlExpression
    """,
    "azure-native:authorization:RoleAssignment": """
        properties properties.condition properties.conditionVersion properties.createdBy properties.createdOn
        properties.delegatedManagedIdentityResourceId properties.description properties.principalId!
        properties.principalType properties.roleDefinitionId! properties.scope properties.updatedBy
        properties.updatedOn
    """,
    "azure-native:network:PrivateEndpoint": """
        extendedLocation extendedLocation.name extendedLocation.type properties properties.applicationSecurityGroups
        properties.billingSku properties.customDnsConfigs properties.customDnsConfigs.fqdn
        properties.customDnsConfigs.ipAddresses properties.customNetworkInterfaceName properties.ipConfigurations
        properties.ipConfigurations.etag properties.ipConfigurations.name properties.ipConfigurations.properties
        properties.ipConfigurations.properties.groupId properties.ipConfigurations.properties.memberName
        properties.ipConfigurations.properties.privateIPAddress properties.ipConfigurations.type
        properties.ipVersionType properties.manualPrivateLinkServiceConnections
        properties.manualPrivateLinkServiceConnections.etag properties.manualPrivateLinkServiceConnections.id
        properties.manualPrivateLinkServiceConnections.name
        properties.manualPrivateLinkServiceConnections.properties
        properties.manualPrivateLinkServiceConnections.properties.approvalReference
        properties.manualPrivateLinkServiceConnections.properties.approvalReference.privateEndpointId
        properties.manualPrivateLinkServiceConnections.properties.groupIds
        properties.manualPrivateLinkServiceConnections.properties.privateLinkServiceConnectionState
        properties.manualPrivateLinkServiceConnections.properties.privateLinkServiceConnectionState.actionsRequired
        properties.manualPrivateLinkServiceConnections.properties.privateLinkServiceConnectionState.description
        properties.manualPrivateLinkServiceConnections.properties.privateLinkServiceConnectionState.status
        properties.manualPrivateLinkServiceConnections.properties.privateLinkServiceId
        properties.manualPrivateLinkServiceConnections.properties.provisioningState
        properties.manualPrivateLinkServiceConnections.properties.requestMessage
        properties.manualPrivateLinkServiceConnections.type properties.networkInterfaces
        properties.privateLinkServiceConnections properties.privateLinkServiceConnections.etag
        properties.privateLinkServiceConnections.id properties.privateLinkServiceConnections.name
        properties.privateLinkServiceConnections.properties
        properties.privateLinkServiceConnections.properties.approvalReference
        properties.privateLinkServiceConnections.properties.approvalReference.privateEndpointId
        properties.privateLinkServiceConnections.properties.groupIds
        properties.privateLinkServiceConnections.properties.privateLinkServiceConnectionState
        properties.privateLinkServiceConnections.properties.privateLinkServiceConnectionState.actionsRequired
        properties.privateLinkServiceConnections.properties.privateLinkServiceConnectionState.description
        properties.privateLinkServiceConnections.properties.privateLinkServiceConnectionState.status
        properties.privateLinkServiceConnections.properties.privateLinkServiceId
        properties.privateLinkServiceConnections.properties.provisioningState
        properties.privateLinkServiceConnections.properties.requestMessage
        properties.privateLinkServiceConnections.type properties.provisioningState properties.subnet
    """,
    "azure-native:network:PrivateDnsZoneGroup": """
        properties properties.privateDnsZoneConfigs properties.privateDnsZoneConfigs.name
        properties.privateDnsZoneConfigs.properties properties.privateDnsZoneConfigs.properties.privateDnsZoneId
        properties.privateDnsZoneConfigs.properties.recordSets
        properties.privateDnsZoneConfigs.properties.recordSets.fqdn
        properties.privateDnsZoneConfigs.properties.recordSets.ipAddresses
        properties.privateDnsZoneConfigs.properties.recordSets.provisioningState
        properties.privateDnsZoneConfigs.properties.recordSets.recordSetName
        properties.privateDnsZoneConfigs.properties.recordSets.recordType
        properties.privateDnsZoneConfigs.properties.recordSets.ttl properties.provisioningState
    """,
    "azure-native:monitor:ActionGroup": """
        properties properties.armRoleReceivers properties.armRoleReceivers.name! properties.armRoleReceivers.roleId!
        properties.armRoleReceivers.useCommonAlertSchema properties.automationRunbookReceivers
        properties.automationRunbookReceivers.automationAccountId!
        properties.automationRunbookReceivers.isGlobalRunbook! properties.automationRunbookReceivers.name
        properties.automationRunbookReceivers.runbookName! properties.automationRunbookReceivers.serviceUri
        properties.automationRunbookReceivers.useCommonAlertSchema
        properties.automationRunbookReceivers.webhookResourceId! properties.azureAppPushReceivers
        properties.azureAppPushReceivers.emailAddress! properties.azureAppPushReceivers.name!
        properties.azureFunctionReceivers properties.azureFunctionReceivers.functionAppResourceId!
        properties.azureFunctionReceivers.functionName! properties.azureFunctionReceivers.httpTriggerUrl!
        properties.azureFunctionReceivers.name! properties.azureFunctionReceivers.useCommonAlertSchema
        properties.emailReceivers properties.emailReceivers.emailAddress! properties.emailReceivers.name!
        properties.emailReceivers.status properties.emailReceivers.useCommonAlertSchema properties.enabled
        properties.eventHubReceivers properties.eventHubReceivers.eventHubName!
        properties.eventHubReceivers.eventHubNameSpace! properties.eventHubReceivers.name!
        properties.eventHubReceivers.subscriptionId! properties.eventHubReceivers.tenantId
        properties.eventHubReceivers.useCommonAlertSchema properties.groupShortName properties.itsmReceivers
        properties.itsmReceivers.connectionId! properties.itsmReceivers.name! properties.itsmReceivers.region!
        properties.itsmReceivers.ticketConfiguration! properties.itsmReceivers.workspaceId!
        properties.logicAppReceivers properties.logicAppReceivers.callbackUrl! properties.logicAppReceivers.name!
        properties.logicAppReceivers.resourceId! properties.logicAppReceivers.useCommonAlertSchema
        properties.smsReceivers properties.smsReceivers.countryCode! properties.smsReceivers.name!
        properties.smsReceivers.phoneNumber! properties.smsReceivers.status properties.voiceReceivers
        properties.voiceReceivers.countryCode! properties.voiceReceivers.name!
        properties.voiceReceivers.phoneNumber! properties.webhookReceivers properties.webhookReceivers.identifierUri
        properties.webhookReceivers.name! properties.webhookReceivers.objectId
        properties.webhookReceivers.serviceUri! properties.webhookReceivers.tenantId
        properties.webhookReceivers.useAadAuth properties.webhookReceivers.useCommonAlertSchema
    """,
    "azure-native:monitor:MetricAlert": """
        properties properties.actions properties.actions.actionGroupId properties.actions.webHookProperties
        properties.autoMitigate properties.criteria! properties.criteria.allOf
        properties.criteria.allOf.alertSensitivity properties.criteria.allOf.criterionType
        properties.criteria.allOf.criterionType! properties.criteria.allOf.dimensions
        properties.criteria.allOf.dimensions.name! properties.criteria.allOf.dimensions.operator!
        properties.criteria.allOf.dimensions.values! properties.criteria.allOf.failingPeriods
        properties.criteria.allOf.failingPeriods.minFailingPeriodsToAlert!
        properties.criteria.allOf.failingPeriods.numberOfEvaluationPeriods!
        properties.criteria.allOf.ignoreDataBefore properties.criteria.allOf.metricName
        properties.criteria.allOf.metricName! properties.criteria.allOf.metricNamespace
        properties.criteria.allOf.name properties.criteria.allOf.name! properties.criteria.allOf.operator
        properties.criteria.allOf.operator! properties.criteria.allOf.skipMetricValidation
        properties.criteria.allOf.threshold properties.criteria.allOf.threshold!
        properties.criteria.allOf.timeAggregation properties.criteria.allOf.timeAggregation!
        properties.criteria.componentId properties.criteria.failedLocationCount properties.criteria.odata~type
        properties.criteria.odata~type! properties.criteria.webTestId properties.description properties.enabled!
        properties.evaluationFrequency! properties.isMigrated properties.lastUpdatedTime properties.scopes!
        properties.severity! properties.targetResourceRegion properties.targetResourceType properties.windowSize!
    """,
    "azure-native:monitor:DiagnosticSetting": """
        properties properties.eventHubAuthorizationRuleId properties.eventHubName
        properties.logAnalyticsDestinationType properties.logs properties.logs.category
        properties.logs.categoryGroup properties.logs.enabled! properties.logs.retentionPolicy
        properties.logs.retentionPolicy.days! properties.logs.retentionPolicy.enabled!
        properties.marketplacePartnerId properties.metrics properties.metrics.category properties.metrics.enabled!
        properties.metrics.retentionPolicy properties.metrics.retentionPolicy.days!
        properties.metrics.retentionPolicy.enabled! properties.metrics.timeGrain properties.serviceBusRuleId
        properties.storageAccountId properties.workspaceId
    """,
    "azure-native:keyvault:Secret": """
        properties! properties.attributes properties.attributes.created properties.attributes.enabled
        properties.attributes.exp properties.attributes.nbf properties.attributes.updated properties.contentType
        properties.secretUri properties.secretUriWithVersion properties.value
    """,
    "azure-native:appconfiguration:KeyValue": """
        properties properties.contentType properties.eTag properties.key properties.label properties.lastModified
        properties.locked properties.tags properties.value
    """,
    "azure-native:storage:StorageAccount": """
        extendedLocation extendedLocation.name extendedLocation.type kind! placement placement.zonePlacementPolicy
        properties properties.accessTier properties.allowBlobPublicAccess properties.allowCrossTenantDelegationSas
        properties.allowCrossTenantReplication properties.allowSharedKeyAccess
        properties.allowSharedKeyAccessForServices properties.allowSharedKeyAccessForServices.blob
        properties.allowSharedKeyAccessForServices.blob.enabled properties.allowSharedKeyAccessForServices.file
        properties.allowSharedKeyAccessForServices.file.enabled properties.allowSharedKeyAccessForServices.queue
        properties.allowSharedKeyAccessForServices.queue.enabled properties.allowSharedKeyAccessForServices.table
        properties.allowSharedKeyAccessForServices.table.enabled properties.allowedCopyScope
        properties.azureFilesIdentityBasedAuthentication
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.accountType
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.azureStorageSid
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.domainGuid
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.domainName
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.domainSid
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.forestName
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.netBiosDomainName
        properties.azureFilesIdentityBasedAuthentication.activeDirectoryProperties.samAccountName
        properties.azureFilesIdentityBasedAuthentication.defaultSharePermission
        properties.azureFilesIdentityBasedAuthentication.directoryServiceOptions!
        properties.azureFilesIdentityBasedAuthentication.smbOAuthSettings
        properties.azureFilesIdentityBasedAuthentication.smbOAuthSettings.isSmbOAuthEnabled properties.customDomain
        properties.customDomain.name! properties.customDomain.useSubDomainName
        properties.dataCollaborationPolicyProperties
        properties.dataCollaborationPolicyProperties.allowBlobAccessPoints
        properties.dataCollaborationPolicyProperties.allowCrossTenantDataSharing
        properties.dataCollaborationPolicyProperties.allowStorageConnectors
        properties.dataCollaborationPolicyProperties.allowStorageDataShares properties.defaultToOAuthAuthentication
        properties.dnsEndpointType properties.dualStackEndpointPreference
        properties.dualStackEndpointPreference.publishIpv6Endpoint properties.enableExtendedGroups
        properties.encryption properties.encryption.identity
        properties.encryption.identity.federatedIdentityClientId properties.encryption.identity.userAssignedIdentity
        properties.encryption.keySource properties.encryption.keyvaultproperties
        properties.encryption.keyvaultproperties.currentVersionedKeyExpirationTimestamp
        properties.encryption.keyvaultproperties.currentVersionedKeyIdentifier
        properties.encryption.keyvaultproperties.keyname properties.encryption.keyvaultproperties.keyvaulturi
        properties.encryption.keyvaultproperties.keyversion
        properties.encryption.keyvaultproperties.lastKeyRotationTimestamp
        properties.encryption.requireInfrastructureEncryption properties.encryption.services
        properties.encryption.services.blob properties.encryption.services.blob.enabled
        properties.encryption.services.blob.keyType properties.encryption.services.blob.lastEnabledTime
        properties.encryption.services.file properties.encryption.services.file.enabled
        properties.encryption.services.file.keyType properties.encryption.services.file.lastEnabledTime
        properties.encryption.services.queue properties.encryption.services.queue.enabled
        properties.encryption.services.queue.keyType properties.encryption.services.queue.lastEnabledTime
        properties.encryption.services.table properties.encryption.services.table.enabled
        properties.encryption.services.table.keyType properties.encryption.services.table.lastEnabledTime
        properties.geoPriorityReplicationStatus properties.geoPriorityReplicationStatus.isBlobEnabled
        properties.immutableStorageWithVersioning properties.immutableStorageWithVersioning.enabled
        properties.immutableStorageWithVersioning.immutabilityPolicy
        properties.immutableStorageWithVersioning.immutabilityPolicy.allowProtectedAppendWrites
        properties.immutableStorageWithVersioning.immutabilityPolicy.immutabilityPeriodSinceCreationInDays
        properties.immutableStorageWithVersioning.immutabilityPolicy.state properties.isHnsEnabled
        properties.isLocalUserEnabled properties.isNfsV3Enabled properties.isSftpEnabled properties.keyPolicy
        properties.keyPolicy.keyExpirationPeriodInDays! properties.largeFileSharesState properties.minimumTlsVersion
        properties.networkAcls properties.networkAcls.bypass properties.networkAcls.defaultAction!
        properties.networkAcls.ipRules properties.networkAcls.ipRules.action properties.networkAcls.ipRules.value!
        properties.networkAcls.ipv6Rules properties.networkAcls.ipv6Rules.action
        properties.networkAcls.ipv6Rules.value! properties.networkAcls.resourceAccessRules
        properties.networkAcls.resourceAccessRules.resourceId properties.networkAcls.resourceAccessRules.tenantId
        properties.networkAcls.virtualNetworkRules properties.networkAcls.virtualNetworkRules.action
        properties.networkAcls.virtualNetworkRules.id! properties.networkAcls.virtualNetworkRules.state
        properties.publicNetworkAccess properties.routingPreference
        properties.routingPreference.publishInternetEndpoints properties.routingPreference.publishMicrosoftEndpoints
        properties.routingPreference.routingChoice properties.sasPolicy properties.sasPolicy.expirationAction!
        properties.sasPolicy.requireUserBoundUserDelegationSas
        properties.sasPolicy.requireUserBoundUserDelegationSasAction properties.sasPolicy.sasExpirationPeriod!
        properties.supportsHttpsTrafficOnly properties.turboTier properties.turboTier.status
        properties.turboTier.targetPercent sku! sku.name! sku.tier zones
    """,
    "azure-native:storage:BlobContainer": """
        properties properties.blobAccessPointConfiguration
        properties.blobAccessPointConfiguration.blobAccessPointConfigurationName
        properties.blobAccessPointConfiguration.blobAccessPointConfigurationUniqueId
        properties.defaultEncryptionScope properties.deleted properties.deletedTime
        properties.denyEncryptionScopeOverride properties.enableNfsV3AllSquash properties.enableNfsV3RootSquash
        properties.hasImmutabilityPolicy properties.hasLegalHold properties.immutabilityPolicy
        properties.immutabilityPolicy.etag properties.immutabilityPolicy.properties
        properties.immutabilityPolicy.properties.allowProtectedAppendWrites
        properties.immutabilityPolicy.properties.allowProtectedAppendWritesAll
        properties.immutabilityPolicy.properties.immutabilityPeriodSinceCreationInDays
        properties.immutabilityPolicy.properties.state properties.immutabilityPolicy.updateHistory
        properties.immutabilityPolicy.updateHistory.allowProtectedAppendWrites
        properties.immutabilityPolicy.updateHistory.allowProtectedAppendWritesAll
        properties.immutabilityPolicy.updateHistory.immutabilityPeriodSinceCreationInDays
        properties.immutabilityPolicy.updateHistory.objectIdentifier
        properties.immutabilityPolicy.updateHistory.tenantId properties.immutabilityPolicy.updateHistory.timestamp
        properties.immutabilityPolicy.updateHistory.update properties.immutabilityPolicy.updateHistory.upn
        properties.immutableStorageWithVersioning properties.immutableStorageWithVersioning.enabled
        properties.immutableStorageWithVersioning.migrationState properties.immutableStorageWithVersioning.timeStamp
        properties.lastModifiedTime properties.leaseDuration properties.leaseState properties.leaseStatus
        properties.legalHold properties.legalHold.hasLegalHold properties.legalHold.protectedAppendWritesHistory
        properties.legalHold.protectedAppendWritesHistory.allowProtectedAppendWritesAll
        properties.legalHold.protectedAppendWritesHistory.timestamp properties.legalHold.tags
        properties.legalHold.tags.objectIdentifier properties.legalHold.tags.tag properties.legalHold.tags.tenantId
        properties.legalHold.tags.timestamp properties.legalHold.tags.upn properties.metadata
        properties.publicAccess properties.remainingRetentionDays properties.version
    """,
    "azure-native:storage:BlobServiceProperties": """
        properties properties.automaticSnapshotPolicyEnabled properties.changeFeed properties.changeFeed.enabled
        properties.changeFeed.retentionInDays properties.containerDeleteRetentionPolicy
        properties.containerDeleteRetentionPolicy.allowPermanentDelete
        properties.containerDeleteRetentionPolicy.days properties.containerDeleteRetentionPolicy.enabled
        properties.cors properties.cors.corsRules properties.cors.corsRules.allowedHeaders!
        properties.cors.corsRules.allowedMethods! properties.cors.corsRules.allowedOrigins!
        properties.cors.corsRules.exposedHeaders! properties.cors.corsRules.maxAgeInSeconds!
        properties.defaultServiceVersion properties.deleteRetentionPolicy
        properties.deleteRetentionPolicy.allowPermanentDelete properties.deleteRetentionPolicy.days
        properties.deleteRetentionPolicy.enabled properties.isVersioningEnabled
        properties.lastAccessTimeTrackingPolicy properties.lastAccessTimeTrackingPolicy.blobType
        properties.lastAccessTimeTrackingPolicy.enable! properties.lastAccessTimeTrackingPolicy.name
        properties.lastAccessTimeTrackingPolicy.trackingGranularityInDays properties.restorePolicy
        properties.restorePolicy.days properties.restorePolicy.enabled! properties.restorePolicy.lastEnabledTime
        properties.restorePolicy.minRestoreTime properties.staticWebsite
        properties.staticWebsite.defaultIndexDocumentPath properties.staticWebsite.enabled!
        properties.staticWebsite.errorDocument404Path properties.staticWebsite.indexDocument sku sku.name! sku.tier
    """,
    "azure-native:storage:ManagementPolicy": """
        properties properties.lastModifiedTime properties.policy! properties.policy.rules!
        properties.policy.rules.definition! properties.policy.rules.definition.actions!
        properties.policy.rules.definition.actions.baseBlob
        properties.policy.rules.definition.actions.baseBlob.delete
        properties.policy.rules.definition.actions.baseBlob.delete.daysAfterCreationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.delete.daysAfterLastAccessTimeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.delete.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.delete.daysAfterModificationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.enableAutoTierToHotFromCool
        properties.policy.rules.definition.actions.baseBlob.tierToArchive
        properties.policy.rules.definition.actions.baseBlob.tierToArchive.daysAfterCreationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToArchive.daysAfterLastAccessTimeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToArchive.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToArchive.daysAfterModificationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCold
        properties.policy.rules.definition.actions.baseBlob.tierToCold.daysAfterCreationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCold.daysAfterLastAccessTimeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCold.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCold.daysAfterModificationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCool
        properties.policy.rules.definition.actions.baseBlob.tierToCool.daysAfterCreationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCool.daysAfterLastAccessTimeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCool.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToCool.daysAfterModificationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToHot
        properties.policy.rules.definition.actions.baseBlob.tierToHot.daysAfterCreationGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToHot.daysAfterLastAccessTimeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToHot.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.baseBlob.tierToHot.daysAfterModificationGreaterThan
        properties.policy.rules.definition.actions.snapshot
        properties.policy.rules.definition.actions.snapshot.delete
        properties.policy.rules.definition.actions.snapshot.delete.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.snapshot.delete.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.snapshot.tierToArchive
        properties.policy.rules.definition.actions.snapshot.tierToArchive.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.snapshot.tierToArchive.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.snapshot.tierToCold
        properties.policy.rules.definition.actions.snapshot.tierToCold.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.snapshot.tierToCold.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.snapshot.tierToCool
        properties.policy.rules.definition.actions.snapshot.tierToCool.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.snapshot.tierToCool.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.snapshot.tierToHot
        properties.policy.rules.definition.actions.snapshot.tierToHot.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.snapshot.tierToHot.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.version properties.policy.rules.definition.actions.version.delete
        properties.policy.rules.definition.actions.version.delete.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.version.delete.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.version.tierToArchive
        properties.policy.rules.definition.actions.version.tierToArchive.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.version.tierToArchive.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.version.tierToCold
        properties.policy.rules.definition.actions.version.tierToCold.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.version.tierToCold.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.version.tierToCool
        properties.policy.rules.definition.actions.version.tierToCool.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.version.tierToCool.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.actions.version.tierToHot
        properties.policy.rules.definition.actions.version.tierToHot.daysAfterCreationGreaterThan!
        properties.policy.rules.definition.actions.version.tierToHot.daysAfterLastTierChangeGreaterThan
        properties.policy.rules.definition.filters properties.policy.rules.definition.filters.blobIndexMatch
        properties.policy.rules.definition.filters.blobIndexMatch.name!
        properties.policy.rules.definition.filters.blobIndexMatch.op!
        properties.policy.rules.definition.filters.blobIndexMatch.value!
        properties.policy.rules.definition.filters.blobTypes! properties.policy.rules.definition.filters.prefixMatch
        properties.policy.rules.enabled properties.policy.rules.name! properties.policy.rules.type!
    """,
    "azure-native:portal:Dashboard": """
        properties properties.lenses properties.lenses.metadata properties.lenses.order! properties.lenses.parts!
        properties.lenses.parts.metadata properties.lenses.parts.position! properties.lenses.parts.position.colSpan!
        properties.lenses.parts.position.metadata properties.lenses.parts.position.rowSpan!
        properties.lenses.parts.position.x! properties.lenses.parts.position.y! properties.metadata
        properties.provisioningState
    """,
}

{{- define "longshore.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "longshore.labels" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What never changes, for selectors: of (dict "root" $ "component" "router"). */}}
{{- define "longshore.selector" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "longshore.image" -}}
{{- $repository := required "image.repository is needed: where the platform's image is (make image IMAGE=... pushes it)" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "longshore.databaseSecret" -}}
{{- .Values.database.existingSecret | default (printf "%s-database" (include "longshore.name" .)) -}}
{{- end -}}

{{- define "longshore.apiKeySecret" -}}
{{- .Values.apiKey.existingSecret | default (printf "%s-api-key" (include "longshore.name" .)) -}}
{{- end -}}

{{- define "longshore.metricsSecret" -}}
{{- .Values.metrics.existingSecret | default (printf "%s-metrics" (include "longshore.name" .)) -}}
{{- end -}}

{{/* plugins.toml, for (dict "root" $ "component" "router"). */}}
{{- define "longshore.plugins" -}}
{{- $values := .root.Values -}}
{{- $settings := merge (dict "backend" "kubernetes" "host" "0.0.0.0" "port" 8000 "state" "/var/lib/longshore") $values.settings -}}
{{- $own := merge (dict "namespace" .root.Release.Namespace) $values.kubernetes -}}
{{- if $values.networkPolicy.enabled -}}
{{- $own = merge $own (dict "routers" (dict "app.kubernetes.io/name" "longshore" "app.kubernetes.io/instance" .root.Release.Name)) -}}
{{- end -}}
{{- if eq .component "router" -}}
{{- $settings = merge (dict "workers" (int $values.router.workers) "grace" (int $values.router.grace) "stop_delay" (int $values.router.stopDelay)) $settings -}}
{{- else if $values.metrics.enabled -}}
{{- $own = merge (dict "metrics_port" 8443 "metrics_certificate" "/etc/longshore-metrics/tls.crt" "metrics_key" "/etc/longshore-metrics/tls.key") $own -}}
{{- end -}}
{{- $plugins := list (dict "name" "kubernetes" "settings" $own) -}}
{{- range $values.plugins -}}{{- $plugins = append $plugins . -}}{{- end -}}
{{ toToml (dict "longshore" $settings "plugin" $plugins) }}
{{- end -}}

{{/* plugins.toml of the pods that inspect nodes: nothing that is secret, and only what they use. */}}
{{- define "longshore.nodePlugins" -}}
{{- $settings := merge (dict "backend" "kubernetes") (pick .Values.settings "log_level") -}}
{{- $plugins := list (dict "name" "kubernetes" "settings" (dict "namespace" .Release.Namespace)) -}}
{{- range .Values.plugins -}}
{{- if eq .name "nodes" -}}
{{- $plugins = append $plugins (merge (dict "settings" (omit (.settings | default dict) "this_node")) (omit . "settings")) -}}
{{- end -}}
{{- end -}}
{{ toToml (dict "longshore" $settings "plugin" $plugins) }}
{{- end -}}

{{- define "longshore.nodeSelector" -}}
app.kubernetes.io/name: longshore-node
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "longshore.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What both Deployments share, for (dict "root" $ "component" "router" "values" .Values.router). */}}
{{- define "longshore.pod" -}}
metadata:
  labels:
    {{- include "longshore.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with omit .values.podLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    # A change of the settings is a change of the pods.
    checksum/settings: {{ include "longshore.plugins" (dict "root" .root "component" .component) | sha256sum }}
spec:
  serviceAccountName: {{ include "longshore.name" .root }}-{{ .component }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  # Variables of a Service longshore would read as settings of Longshore.
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    seccompProfile: {type: RuntimeDefault}
  # Of routers: what is in flight, and a moment for those who connect just now.
  terminationGracePeriodSeconds: {{ if eq .component "router" }}{{ add (int .values.grace) (int .values.stopDelay) 15 }}{{ else }}45{{ end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "longshore.selector" . | nindent 10 }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.sidecars }}
  initContainers:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "restartPolicy" "Always" "securityContext" (include "longshore.securityContext" $ | fromYaml)) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "longshore.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [{{ .component }}, --config, /etc/longshore/plugins.toml]
      env:
        - name: LONGSHORE_DATABASE
          valueFrom:
            secretKeyRef: {name: {{ include "longshore.databaseSecret" .root }}, key: {{ .root.Values.database.key }}}
        - name: LONGSHORE_API_KEY
          valueFrom:
            secretKeyRef: {name: {{ include "longshore.apiKeySecret" .root }}, key: {{ .root.Values.apiKey.key }}}
        - name: LONGSHORE_ADVERTISE
          valueFrom:
            fieldRef: {fieldPath: status.podIP}
        {{- with .root.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: http, containerPort: 8000}
        {{- if and (eq .component "controller") .root.Values.metrics.enabled }}
        - {name: metrics, containerPort: 8443}
        {{- end }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 3
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 60
      securityContext:
        {{- include "longshore.securityContext" . | nindent 8 }}
      {{- with .values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: settings, mountPath: /etc/longshore, readOnly: true}
        - {name: state, mountPath: /var/lib/longshore}
        - {name: tmp, mountPath: /tmp}
        {{- if and (eq .component "controller") .root.Values.metrics.enabled }}
        - {name: metrics, mountPath: /etc/longshore-metrics, readOnly: true}
        {{- end }}
  volumes:
    - name: settings
      configMap: {name: {{ include "longshore.name" .root }}-{{ .component }}}
    - name: state
      emptyDir: {}
    - name: tmp
      emptyDir: {}
    {{- if and (eq .component "controller") .root.Values.metrics.enabled }}
    - name: metrics
      secret: {secretName: {{ include "longshore.metricsSecret" .root }}}
    {{- end }}
{{- end -}}
